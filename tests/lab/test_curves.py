"""Curves by hand."""
import math
import unittest

import matplotlib.pyplot as plt
import numpy as np

from lab.analysis import Analysis, Measured
from lab.curves import area, hull, latency_at, pareto, quality_within
from lab.grid import Plan
from lab.plots import Panels

LATENCY, QUALITY = [1.2, 0.8, 0.6, 0.4], [30.0, 26.0, 20.0, 22.0]


class Curves(unittest.TestCase):
    def test_latency_at_a_quality_lies_on_the_line_between_neighbours(self):
        self.assertAlmostEqual(latency_at(LATENCY, QUALITY, 28.0), 1.0)
        self.assertAlmostEqual(latency_at(LATENCY, QUALITY, 26.0), 0.8)
        self.assertEqual(latency_at(LATENCY, QUALITY, 22.0), 0.4)
        self.assertTrue(math.isnan(latency_at(LATENCY, QUALITY, 31.0)))

    def test_quality_within_a_latency(self):
        self.assertAlmostEqual(quality_within(LATENCY, QUALITY, 1.0), 28.0)
        self.assertEqual(quality_within(LATENCY, QUALITY, 0.4), 22.0)
        self.assertTrue(math.isnan(quality_within(LATENCY, QUALITY, 0.3)))

    def test_points_without_a_figure_are_passed_over(self):
        self.assertEqual(latency_at([1.0, math.nan, 0.5], [20.0, math.nan, 25.0], 22.0), 0.5)

    def test_front_leaves_out_what_another_beats(self):
        self.assertEqual(pareto(LATENCY, QUALITY), [3, 1, 0])
        self.assertEqual(pareto([1.0, 1.0, 1.0], [5.0, 5.0, 4.0]), [0])
        self.assertEqual(pareto([], []), [])

    def test_hull_is_what_mixtures_reach(self):
        # 26 at 0.8 is above the line from 22 at 0.4 to 30 at 1.2 in none of its points: on it
        self.assertEqual(hull(LATENCY, QUALITY), [3, 0])
        self.assertEqual(hull([0.0, 0.5, 1.0], [0.0, 0.9, 1.0]), [0, 1, 2])
        self.assertEqual(hull([0.0, 0.5, 1.0], [0.0, 0.4, 1.0]), [0, 2])

    def test_area_is_the_mean_height(self):
        self.assertAlmostEqual(area([0.0, 1.0], [0.0, 1.0], 0.0, 1.0), 0.5)
        self.assertAlmostEqual(area([0.5], [2.0], 0.0, 1.0), 1.0)
        self.assertAlmostEqual(area([0.0, 1.0], [0.0, 1.0], 0.5, 1.0), 0.75)
        self.assertAlmostEqual(area([0.0, 0.5], [0.0, 1.0], 0.75, 1.0), 1.0)
        self.assertAlmostEqual(area([2.0], [5.0], 0.0, 1.0), 0.0)
        self.assertTrue(math.isnan(area([0.5], [2.0], 1.0, 1.0)))


class Pictures(unittest.TestCase):
    def panels(self, **plan):
        points = Plan(rules={"exact": None, "opt": [0.1, 0.2]}, **plan).points()
        analysis = Analysis({}, None, [], [Measured(p, np.zeros((1, 1)), {}, np.zeros(17)) for p in points],
                            [], (0, 0), 1)
        panels = Panels(analysis, (7, 4), by_row=True)
        self.addCleanup(plt.close, panels.figure)
        return [(axes.get_title(), temp, [[m.point.title for m in curve] for curve in curves])
                for axes, temp, curves in panels.each(analysis)]

    def test_a_product_has_a_panel_for_each_temperature_and_gamma(self):
        found = self.panels(temperatures=[1.0, 0.0], gammas=[7, 1, 3], methods=["drafter"])
        self.assertEqual([f[:2] for f in found], [(f"T = {t:g}, γ = {g}", t) for t in (0.0, 1.0)
                                                  for g in (1, 3, 7)])
        for _, _, curves in found:
            self.assertEqual(curves, [["drafter"], ["exact"], ["opt", "opt"]])

    def test_one_setting_is_one_picture_without_a_title(self):
        self.assertEqual(self.panels(), [("", 1.0, [["exact"], ["opt", "opt"]])])


if __name__ == "__main__":
    unittest.main()
