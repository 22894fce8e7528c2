"""The paper's grid: β by seed by base model by method, under several recipes.

``grid`` says which trainings that is, ``cells`` keeps each finished one, ``run`` runs those that are missing.
"""
