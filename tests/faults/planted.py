PLANTED: dict = {}
