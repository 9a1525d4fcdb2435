"""All SQL of lifecycle, by subject. Functions take arrays; every statement has the business."""
