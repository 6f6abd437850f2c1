"""Interactive explorers and quizzes, each with a static form for pages without a kernel."""
