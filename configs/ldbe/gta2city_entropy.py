# Ablation, "EntMin" in the paper's figure: entropy minimisation alone. The pseudo-labels are made but not learnt, so that
# nothing else differs from the rounds of gta2city_stage1_ld.py.
_base_ = './gta2city_stage1_ld.py'
model = dict(positive_weight=0.0, negative_weight=0.0)
