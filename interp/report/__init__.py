"""Figures, tables and pages."""

from interp.report.assemble import MethodRun, Run, report_data
from interp.report.page import write_report

__all__ = ["MethodRun", "Run", "report_data", "write_report"]
