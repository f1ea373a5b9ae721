"""One model of the whole table: each column from the others, as draws that keep the column's kind."""
