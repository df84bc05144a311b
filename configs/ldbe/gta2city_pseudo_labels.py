# Ablation, "Pse.+Sel." in the paper's figure: cross entropy with the selected pseudo-labels alone.
_base_ = './gta2city_stage1_ld.py'
model = dict(entropy_weight=0.0, negative_weight=0.0)
