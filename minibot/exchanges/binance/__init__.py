"""Binance Spot public market data: REST, streams, book, filters, limits."""
