"""One HTML page about a run, to look at and to share."""

from pyg_mmgef.report.write_report import write_report

__all__ = ['write_report']
