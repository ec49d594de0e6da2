"""The folder of a study of features."""

from pathlib import Path

from interp.report.data.features import report_data
from interp.report.pages.features import write_report
from interp.studies.features.result import FeaturesResult


def write_features(result: FeaturesResult, folder: str | Path) -> Path:
    """Write the page of a layer's features with its data, dictionaries, companions and hierarchy,
    and return its path.

    Raises:
        UnavailableError: the folder cannot be written.

    Example:
        >>> write_features(study_features(interp.Settings()), "report")
        PosixPath('report/index.html')
    """
    result.save(folder)
    return write_report(report_data(result), Path(folder))
