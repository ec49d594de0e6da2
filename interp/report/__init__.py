"""Figures, tables and pages."""

from interp.report.data.features import MethodRun, Run, report_data
from interp.report.data.stored import read_report
from interp.report.live.serve import serve, serving
from interp.report.pages.comparison import write_comparison
from interp.report.pages.features import write_report
from interp.report.pages.learning import write_dynamics
from interp.report.pages.paths import write_paths
from interp.report.tables.features import METHOD_TITLES

__all__ = [
    "METHOD_TITLES",
    "MethodRun",
    "Run",
    "read_report",
    "report_data",
    "serve",
    "serving",
    "write_comparison",
    "write_dynamics",
    "write_paths",
    "write_report",
]
