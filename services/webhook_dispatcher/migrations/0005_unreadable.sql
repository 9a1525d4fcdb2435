create index delivery_unreadable on delivery (business_id, endpoint_id)
    where status = 'pending' and last_error = 'secret_unreadable';
