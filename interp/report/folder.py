"""A report's folder from what a study found."""

from pathlib import Path

from interp.report.data.features import report_data
from interp.report.pages.features import write_report
from interp.studies.features.result import FeaturesResult


def write_features(result: FeaturesResult, folder: str | Path) -> Path:
    """Write the page of a layer's features, its data, the dictionaries, companions and hierarchy;
    returns the page's path.

    Raises:
        UnavailableError: the folder cannot be written.

    Example:
        >>> write_features(study_features(interp.Settings()), "report")
        PosixPath('report/index.html')
    """
    result.save(folder)
    return write_report(report_data(result), Path(folder))
