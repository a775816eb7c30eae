"""The planning room: from demand, stock and bills of material to dated purchase and production orders. Pure."""
