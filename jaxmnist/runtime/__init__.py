"""Devices, meshes, processes, signals, files and streams."""
