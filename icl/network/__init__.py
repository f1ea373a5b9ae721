"""The transformer: p(y of query rows | context), as scores. torch only."""
