"""Frame around the pages: template, navigation, notices, and what they share within one session."""
