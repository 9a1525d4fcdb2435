-- Events are held for a partition alone (`part`), where the rest of its topic takes them; -1: for the whole topic.
alter table outbox_held add column part int not null default -1;
create index outbox_held_place on outbox_held (topic, part, id);
drop index outbox_held_order;
