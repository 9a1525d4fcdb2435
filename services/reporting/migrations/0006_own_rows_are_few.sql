-- Few facts are more than three members' own: without this the planner takes them for nearly all, and reads the table.
create statistics fact_own_more on (own[4]) from fact;
analyze fact;
