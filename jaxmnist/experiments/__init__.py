"""Experiments: many trainings that are compared with one another."""
