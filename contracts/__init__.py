"""One data contract per entity, in the Open Data Contract Standard (ODCS) v3, and their loader.

A contract is the single description of an entity: it drives data generation, parsing, quality
rules, PII tags, catalogue comments and the data dictionary. The files stand beside this module as
``<entity>.odcs.yaml``.

>>> from contracts import load_contract
>>> load_contract("accounts").key
('account_id',)
>>> load_contract("accounts").column("iban").pii_class
'account_number'
"""

from contracts.loader import entities, load_contract, load_contracts, load_order
from contracts.model import Column, Consequence, Contract, ContractError, RowRule

__all__ = [
    "Column",
    "Consequence",
    "Contract",
    "ContractError",
    "RowRule",
    "entities",
    "load_contract",
    "load_contracts",
    "load_order",
]
