"""Figures, tables and pages."""

from interp.report.assemble import MethodRun, Run, report_data
from interp.report.comparison import write_comparison
from interp.report.dynamics import write_dynamics
from interp.report.live import serve, serving
from interp.report.page import write_report
from interp.report.paths import write_paths
from interp.report.tables import METHOD_TITLES

__all__ = [
    "METHOD_TITLES",
    "MethodRun",
    "Run",
    "report_data",
    "serve",
    "serving",
    "write_comparison",
    "write_dynamics",
    "write_paths",
    "write_report",
]
