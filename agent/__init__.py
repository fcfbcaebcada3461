"""Operate: when do we ask, what do we keep, whom do we tell, was the promise kept?"""
