-- Fields of record objects that activities may not write.
alter table record_object add column locked_fields text[] not null default '{}';
