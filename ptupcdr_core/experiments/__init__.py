"""The paper's grid: β by seed by base model by method, under several recipes.

``grid`` lists these trainings, ``cells`` stores each finished one, and ``benchmark`` runs those that are missing.
"""
