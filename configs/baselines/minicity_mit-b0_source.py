# Source-only on MiniCity with SegFormer MiT-B0 in place of the small ResNet.
_base_ = ['./minicity_source.py', '../_base_/models/segformer_mit-b0.py']
model = {{_base_.segformer}}
