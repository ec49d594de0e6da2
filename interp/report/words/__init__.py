"""What is said of a result: verdict, findings, methods, doubts; no stronger than its intervals."""
