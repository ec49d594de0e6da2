"""When was it learned, and when could it first have been elicited?"""
