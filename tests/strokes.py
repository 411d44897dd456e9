"""The ten digits as a hand draws them: strokes of points x,y from 0 to 100."""

_STROKES = """
50,20 38,25 32,40 31,58 37,74 49,80 61,75 68,60 68,42 62,27 50,20
53,18 51,40 50,60 49,82
33,32 40,21 54,19 64,28 63,42 52,57 33,79 50,77 70,78
34,24 48,18 61,23 63,35 55,45 46,48 58,52 67,62 63,75 50,81 35,77
36,20 33,38 33,50 48,52 66,49 | 64,22 62,50 60,82
66,20 40,21 37,45 52,43 65,53 66,68 54,80 36,77
60,18 45,30 37,50 36,68 45,80 58,79 65,68 60,56 48,55 37,65
32,22 50,21 68,21 60,40 53,60 47,82
60,26 48,19 38,28 43,40 57,53 63,68 54,80 41,76 38,63 48,50 60,38 60,26
63,30 53,20 41,25 37,38 44,49 56,46 63,32 62,50 59,66 54,82
"""

DIGITS: list[list[list[tuple[float, float]]]] = [
    [
        [(int(x) / 100, int(y) / 100) for x, y in (point.split(",") for point in stroke.split())]
        for stroke in line.split("|")
    ]
    for line in _STROKES.strip().splitlines()
]
"""Of each digit its strokes, of each stroke its points [x, y] from 0 to 1."""
