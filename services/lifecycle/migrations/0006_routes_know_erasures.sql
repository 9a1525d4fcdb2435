-- A request that logs an activity admits the reports that wait for it, and has to know who was erased.
grant select on erasure to {routes};
