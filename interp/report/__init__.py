"""Figures, tables and pages."""

from interp.report.data.features import report_data
from interp.report.data.stored import read_report
from interp.report.folder import write_features
from interp.report.live.serve import serve, serving
from interp.report.pages.comparison import write_comparison
from interp.report.pages.features import write_report
from interp.report.pages.learning import write_dynamics
from interp.report.pages.paths import write_paths
from interp.studies.features.result import FeaturesResult as Run
from interp.studies.features.result import MethodRun
from interp.studies.methods import METHOD_TITLES

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
    "write_features",
    "write_paths",
    "write_report",
]
