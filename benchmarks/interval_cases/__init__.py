"""Models whose scores, and how these vary, are known or can be drawn again and again."""
