-- Lanes ask by endpoint (delivery_waiting); nobody asks for what is due whosever it is any more.
drop index delivery_due;
