# MiniCity's schedule with a discriminator beside the student: the student's AdamW, and Adam as the adversarial papers
# have it for theirs. Both follow the one poly schedule, each from its own learning rate.
_base_ = './minicity.py'
optim_wrapper = dict(
    _delete_=True,
    constructor='mmuda.NetworkOptimConstructor',
    student=dict(optimizer={{_base_.optim_wrapper.optimizer}}),
    discriminator=dict(optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.99))))
