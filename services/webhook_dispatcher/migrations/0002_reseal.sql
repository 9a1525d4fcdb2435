-- Sealing secrets again under another master key is done by the worker.
grant update (sealed) on endpoint_secret to {worker};
