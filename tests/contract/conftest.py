"""What holds for every contract test: the documents judge the exchange, and the client's README tells the truth."""

from __future__ import annotations

from venuetable import asks_what_the_table_says
from verdicts import the_documents_judge

__all__ = ["asks_what_the_table_says", "the_documents_judge"]
