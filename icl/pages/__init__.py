"""How anything is shown: tables, pages, figures, progress."""
