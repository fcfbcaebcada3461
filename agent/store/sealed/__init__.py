"""Sealed days: samples of a past UTC day as Parquet files that never change, described by a manifest.

agent.store.sealed.parquet alone imports DuckDB; nothing here does so before sealed days are written or read.
"""
