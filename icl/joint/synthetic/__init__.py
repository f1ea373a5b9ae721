"""New rows of a table, drawn column after column, and how likely rows are."""
