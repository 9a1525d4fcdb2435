-- Reports come in through Kafka too, and there the consumer keeps them.
grant insert on report_identity, source to {worker};
grant insert, update on report_accepted to {worker};
