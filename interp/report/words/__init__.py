"""Sentences about a result, no stronger than its intervals: verdict, findings, methods, doubts."""
