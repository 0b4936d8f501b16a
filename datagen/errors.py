"""Errors that people read: what is wrong, where, and what to do about it."""

from __future__ import annotations


class GenerateError(Exception):
    """Data could not be made or written (exit code 1)."""


class BadRequestError(GenerateError):
    """What was asked for makes no sense, or would damage data that is there (exit code 2)."""
