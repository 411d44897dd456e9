"""Sweeps: many trainings that differ in fields of their configuration, ranked."""
