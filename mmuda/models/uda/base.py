"""What every adaptation method shares: a student, a prediction, and the skeleton of one training step."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor, nn

from mmuda.models.necks.depth_guide import logits_and_depth
from mmuda.models.prediction import at_file_size, resized_argmax
from mmuda.models.uda.teacher import MeanTeacher
from mmuda.registry import MODELS
from mmuda.utils.distributed import average_gradients
from mmuda.utils.weights import adapt_state

Batch = dict[str, Any]
Losses = dict[str, Tensor]

PRECISIONS = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}
_CHANGES = ('flip', 'pad_shape', 'padding_size', 'img_padding_size')  # metainfo of what mmseg undoes in a prediction


class UDASegmentor(BaseSegmentor):
    """Trains a stock segmentor (the student) by the parts of a method.

    .. code:: text

     train_step(): data_preprocessor -> for each of parts(): backward
                   -> average_gradients() -> every optimiser steps -> teacher.update()
     parts():      the method, in the paper's order; yields (name, {loss name: value})
     predict():    network.forward() -> labels, where network is the student or the teacher, as `evaluate` says
     forward():    network.forward(), without post-processing

    Each part is back-propagated as soon as it is yielded, so its graph is free before the next one is built: the large
    source pass and the target passes never hold activations together.

    A method derives from this class, implements :meth:`parts`, and
    knows nothing of processes, precision and optimisers.

    Args:
        student: Config of any mmseg segmentor, e.g. an ``EncoderDecoder``.
        data_preprocessor: Usually a ``mmuda.DomainDataPreprocessor``.
        teacher: Arguments of :class:`MeanTeacher`; None trains without one.
        evaluate: The network that is validated, tested and exported: ``'student'`` or ``'teacher'``.
        resize_once: Interpolate the logits of a prediction straight to the size of its label, not to the image's size
            first as mmseg does (DAF+IDA spec, trap 9). A padded image is interpolated to its padded size, as ever.
        predict_depth: Whether predictions also have ``pred_depth_map``, the inverse depth (1, H, W) of a network with a
            neck such as :class:`DepthGuide`, by a forward pass of its own.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``: what the networks compute in, in training and prediction.
            Weights, logits, losses, batch-norm statistics and the teacher's average stay in fp32. The half precisions
            lay tensors out channels last; fp16 scales the losses, all optimisers sharing one scale.
        pretrained: Always None, like the next two: mmseg's ``init_model`` passes it to every segmentor.
        train_cfg: Always None.
        init_cfg: Always None.

    Attributes:
        keep_logits: Whether predictions carry their logits; False at first.
        predict_density: Whether predictions also have ``pred_density_map``, (1, H, W), about 0 to 255, of a network
            with a density head (Depth Distribution); False at first.
    """

    def __init__(
        self,
        student: dict,
        data_preprocessor: dict | None = None,
        teacher: dict | None = None,
        evaluate: str = 'student',
        resize_once: bool = False,
        predict_depth: bool = False,
        precision: str = 'fp32',
        pretrained: None = None,
        train_cfg: None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if pretrained is not None or train_cfg is not None or init_cfg is not None:
            raise ValueError(
                'model.pretrained, .train_cfg and .init_cfg belong to the student: set them in model.student'
            )
        if evaluate not in ('student', 'teacher') or (evaluate == 'teacher' and teacher is None):
            raise ValueError(f"model.evaluate={evaluate!r}: choose 'student', or 'teacher' together with model.teacher")
        if precision not in PRECISIONS:
            raise ValueError(f'model.precision={precision!r}: choose one of {list(PRECISIONS)}')
        self.precision = precision
        self.scaler = torch.amp.GradScaler('cuda' if torch.cuda.is_available() else 'cpu', enabled=precision == 'fp16')
        self.student = MODELS.build(student).to(memory_format=self.memory_format)
        self.teacher = None if teacher is None else MeanTeacher(self.student, **teacher)
        self.evaluate = evaluate
        self.resize_once = resize_once
        self.predict_depth = predict_depth
        self.predict_density = False
        self.notes: dict[str, Tensor] | None = None  # a dict while a PictureHook asks for pictures of the step
        self.keep_logits = False
        self._register_load_state_dict_pre_hook(self._before_load)

    # ---------------------------------------------------------------------------------------------- training

    @abstractmethod
    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the method's loss terms part by part, in the paper's order.

        Args:
            data: One batch per domain, on the device and normalised (see ``DomainDataPreprocessor``).

        Yields:
            The part's name (the prefix in the log) and its terms. Terms whose name contains ``loss`` are added and
            back-propagated before the generator goes on; the others are only logged.
        """

    def train_step(self, data: dict, optim_wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, Tensor]:
        """One iteration: see the class.

        Returns:
            Every term of this process for the log, and as ``loss`` their sum, the mean over all processes.
        """
        optimizers = list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
        data = self.data_preprocessor(data, training=True)
        for optimizer in optimizers:
            optimizer.zero_grad()
        log: dict[str, Tensor] = {}
        total = torch.zeros((), device=self.data_preprocessor.device)
        for name, terms in self.parts(data):
            loss, _ = self.parse_losses(terms)
            self.scaler.scale(loss).backward()
            total = total + loss.detach()
            log |= {f'{name}.{term}': value.detach() for term, value in terms.items()}
        total = average_gradients(self.parameters(), total)
        for optimizer in optimizers:
            self.scaler.step(optimizer)  # without fp16 nothing but optimizer.step()
        self.scaler.update()
        if self.teacher is not None:
            self.teacher.update(self.student)
        return {'loss': total, **log}

    def heads(self, image: Tensor) -> list[Tensor]:
        """The student's low-resolution logits, (N, C, h, w) each: the main head's, then those of any auxiliary ones."""
        heads = [self.student.decode_head]
        if self.student.with_auxiliary_head:
            auxiliary = self.student.auxiliary_head
            heads += auxiliary if isinstance(auxiliary, nn.ModuleList) else [auxiliary]
        with self.autocast():
            features = self.student.extract_feat(image)
            return [head(features).float() for head in heads]

    def main_head(self, image: Tensor, network: nn.Module | None = None) -> Tensor:
        """Low-resolution logits of the main head alone, (N, C, h, w); the student's, if no other network is given."""
        network = network or self.student
        with self.autocast():
            return network.decode_head(network.extract_feat(image)).float()

    def autocast(self) -> torch.autocast:
        """The context in which networks compute in ``precision``; what follows them stays outside, in fp32."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.data_preprocessor.device.type, dtype=dtype, enabled=dtype is not None)

    def note(self, **pictures: Tensor) -> None:
        """Keep intermediate results of this step for ``mmuda.PictureHook``; does nothing unless it has asked for them.

        The type says what a picture shows: float (N, 3, h, w) a normalised image, float (N, 1, h, w) inverse depth,
        float (N, C, h, w) logits, int64 (N, h, w) a label map, bool (N, h, w) a mask, float (N, h, w) values in [0, 1].
        Their name is the title.
        """
        if self.notes is not None:
            self.notes |= {name: picture.detach() for name, picture in pictures.items()}

    def upsample(self, logits: Tensor, like: Tensor) -> Tensor:
        """Logits (N, C, h, w) at the height and width of ``like``, bilinear as the student's heads align corners."""
        return F.interpolate(
            logits, size=like.shape[-2:], mode='bilinear', align_corners=self.student.decode_head.align_corners
        )

    # -------------------------------------------------------------------------------------------- prediction

    @property
    def memory_format(self) -> torch.memory_format:
        """How the networks' weights lie in memory; what they compute follows."""
        return torch.contiguous_format if self.precision == 'fp32' else torch.channels_last

    @property
    def network(self) -> nn.Module:
        """The plain segmentor that is evaluated."""
        return self.teacher.model if self.evaluate == 'teacher' else self.student

    @property
    def out_channels(self) -> int:
        """Number of logits per pixel; mmseg's test-time augmentation asks for it."""
        return self.network.out_channels

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Predictions of the evaluated network; the labels are those of mmseg's ``EncoderDecoder.predict``.

        A whole image, neither flipped nor padded, gets ``pred_sem_seg`` only: its logits never exist at the size of its
        labels, and with :attr:`resize_once` not at that of the image either. Everything else, and all if
        :attr:`keep_logits` is set, is left to mmseg and has ``seg_logits``, too.
        """
        samples, maps = self._predict_labels(inputs, data_samples), {}
        with self.autocast():  # (N, 1, h, w) each
            if self.predict_depth:
                _, maps['pred_depth_map'] = logits_and_depth(self.network, inputs)
            if self.predict_density:
                maps['pred_density_map'] = self._density(inputs)
        size = inputs.shape[-2:]
        for name, found in maps.items():
            for sample, own in zip(samples, found.split(1), strict=True):
                meta = {'img_shape': size, 'ori_shape': size, **sample.metainfo}
                sample.set_data({name: PixelData(data=at_file_size(own, meta)[0])})  # (1, H, W)
        return samples

    def _density(self, inputs: Tensor) -> Tensor:
        if not hasattr(self.network, 'density_head'):
            raise ValueError(
                "the network predicts no density: its model.student is no type='mmuda.DensityDepthSegmentor'"
            )
        return self.network.density_head(self.network.extract_feat(inputs))

    def _predict_labels(self, inputs: Tensor, data_samples: list | None) -> list:
        if self.keep_logits or not self._is_plain(data_samples):
            with self.autocast():
                if data_samples is None or not self.resize_once:
                    return self.network.predict(inputs, data_samples)
                # the same, but for what the heads interpolate to: without padding the size of the label
                metas = [{'pad_shape': sample.ori_shape} | sample.metainfo for sample in data_samples]
                return self.network.postprocess_result(self.network.inference(inputs, metas), data_samples)
        logits = self._forward(inputs).float()  # (N, C, h, w)
        for sample, own in zip(data_samples, logits.split(1), strict=True):
            sizes = [inputs.shape[-2:], sample.ori_shape][self.resize_once :]
            label = resized_argmax(own, sizes, self.network.align_corners)
            sample.pred_sem_seg = PixelData(data=label.long())  # (1, H, W)
        return data_samples

    def _is_plain(self, data_samples: list | None) -> bool:
        """Whether mmseg would do no more to the logits than resize them to image and label, and take the largest."""
        network, head = self.network, type(self.network.decode_head)
        return (
            data_samples is not None
            and network.test_cfg.get('mode', 'whole') == 'whole'
            and network.out_channels > 1
            and issubclass(head, BaseDecodeHead)
            and head.predict is BaseDecodeHead.predict
            and head.predict_by_feat is BaseDecodeHead.predict_by_feat
            and not any(sample.get(key) for sample in data_samples for key in _CHANGES)
        )

    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        with self.autocast():
            return self.network(inputs, data_samples, mode='tensor')

    def extract_feat(self, inputs: Tensor) -> Any:
        """Features of the evaluated network."""
        return self.network.extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits of the evaluated network at the input's size."""
        return self.network.encode_decode(inputs, batch_img_metas)

    def loss(self, inputs: Tensor, data_samples: list) -> Losses:
        """Not a way to train: a method has several passes, so the runner calls :meth:`train_step`."""
        raise RuntimeError(f'{type(self).__name__} is trained by train_step(), part by part; it has no single loss()')

    # --------------------------------------------------------------------------------------------- hand-over

    def get_extra_state(self) -> Tensor:
        """The scale of fp16 losses and the steps since it last changed; zeros without one."""
        state = self.scaler.state_dict()
        return torch.tensor([state.get('scale', 0.0), state.get('_growth_tracker', 0)])

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the scale."""
        if self.scaler.is_enabled() and state[0]:
            scale, tracker = state.tolist()
            self.scaler.load_state_dict(self.scaler.state_dict() | {'scale': scale, '_growth_tracker': int(tracker)})

    def init_weights(self) -> None:
        """Initialise the student; the teacher starts as its copy."""
        self.student.to(memory_format=torch.contiguous_format)  # random numbers are filled in in memory's order
        self.student.init_weights()
        self.student.to(memory_format=self.memory_format)
        if self.teacher is not None:
            self.teacher.copy_from(self.student)

    def _before_load(self, state: dict, prefix: str, *_: Any) -> None:
        adapt_state(state, self, prefix)
        state.setdefault(f'{prefix}_extra_state', self.get_extra_state())  # a start from elsewhere has no scale


def labels_of(batch: Batch, domain: str) -> Tensor:
    """The labels (N, H, W) of a domain's batch, int64, 255 = ignore or, of pseudo-labels, not selected.

    Raises:
        ValueError: It comes without labels.
    """
    if 'label' not in batch:
        raise ValueError(
            f'the {domain} comes without labels: run the recipe of this config, if it makes them, or set '
            f'train_dataloader.dataset.{domain}.label_dir, or its with_labels=True, and put mmuda.LoadLabels into its '
            'pipeline'
        )
    return batch['label']


def depth_of(batch: Batch, domain: str) -> Tensor:
    """The inverse depth of a domain's batch, (N, 1, H, W) as :func:`mmuda.utils.depth.inverse_depth` has it.

    Raises:
        ValueError: It comes without depth.
    """
    if 'depth' not in batch:
        raise ValueError(
            f'the {domain} comes without depth: set train_dataloader.dataset.{domain}.with_depth=True, where need be '
            'its depth_dir, and put mmuda.LoadDepth into its pipeline'
        )
    return batch['depth']
