"""Accuracy and speed tables.

    python tools/benchmark.py minicity --all --seeds 0 1 2
    python tools/benchmark.py minicity --methods ehtdi --seeds 0 1 2
    python tools/benchmark.py minicity --methods ehtdi --city 1 --shift strong --sheet
    python tools/benchmark.py step --method ehtdi
    python tools/benchmark.py parts
    python tools/benchmark.py eval
    python tools/benchmark.py offline

The accuracy table trains what is missing, two runs at a time on one thread each; stopped and started again it goes on
where it was. Equal stages (the source-only start of a seed, say) run once.

The speed tables (tools/speed/) set each piece of work beside its plain form; docs/benchmarks.md says how.
"""

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmuda import minicity
from mmuda.engine.recipe import OUTPUTS
from mmuda.utils.command_line import plain_errors, quiet
from mmuda.utils.files import write_whole
from mmuda.utils.inference import Predictor, comparison, val_items
from mmuda.utils.pictures import encode

# Rows of the table: name -> config, whose last stage is scored, or config@stage, which that config's row trains along.
METHODS = {
    'ehtdi': {'EHTDI': 'ehtdi/minicity.py', 'EHTDI, AdaBN': 'ehtdi/minicity_adabn.py'},
    'ehtdi_edge': {'EHTDI edge': 'ehtdi/minicity_edge.py', 'EHTDI edge, AdaBN': 'ehtdi/minicity_edge_adabn.py'},
    'ehtdi_mit-b0': {'mit-b0 EHTDI': 'ehtdi/minicity_mit-b0.py'},
    'ldbe': {'LD': 'ldbe/minicity_stage1_ld.py', 'LDBE': 'ldbe/minicity.py'},
    'adversarial': {
        'AdaptSegNet': 'baselines/minicity_adaptsegnet.py',
        'AdvEnt': 'baselines/minicity_advent.py',
        'MinEnt': 'baselines/minicity_minent.py',
    },
    'daf_ida': {
        'DAF': 'daf_ida/minicity_stage1_daf.py',
        'DAF+ISL': 'daf_ida/minicity_stage2_isl.py',
        'DAF+IDA': 'daf_ida/minicity.py',
    },
    'depth_distribution': {
        'Depth Distribution, stage 1': 'depth_distribution/minicity_stage1_uda.py',
        'Depth Distribution': 'depth_distribution/minicity.py',
    },
    'hiast': {
        'HIAST warm-up': 'hiast/minicity_stage1_warmup.py',
        'HIAST round 1': 'hiast/minicity.py@round1',
        'HIAST round 2': 'hiast/minicity.py@round2',
        'HIAST': 'hiast/minicity.py',
    },
    'hiast_ehtdi': {'EHTDI+HIAST': 'hiast/minicity_ehtdi.py'},
}
BY_NAME_ONLY = ('ehtdi_mit-b0', 'hiast_ehtdi')  # not among --all
# Training steps whose speed is measured: name -> config.
STEPS = {
    'ehtdi': 'ehtdi/gta2city.py',
    'ehtdi_edge': 'ehtdi/gta2city_edge.py',
    'ldbe_ld': 'ldbe/gta2city_stage1_ld.py',
    'ldbe': 'ldbe/gta2city.py',
    'advent': 'baselines/synthia2city_16_advent.py',
    'daf': 'daf_ida/synthia2city_16_stage1_daf.py',
    'ida': 'daf_ida/synthia2city_16.py',
    'depth_distribution': 'depth_distribution/synthia2city_16_stage1_uda.py',
    'hiast': 'hiast/gta2city.py',
}
# Further rows for every network among them: name -> the end of its config's name, beside the network's ..._source.py.
BASELINES = {'source-only': 'source', 'continued': 'continued', 'AdaBN': 'adabn', 'oracle': 'oracle'}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest='kind', required=True)
    table = kinds.add_parser('minicity', help='target mIoU of baselines, methods and oracle on MiniCity')
    choice = table.add_mutually_exclusive_group()
    choice.add_argument('--methods', nargs='+', choices=sorted(METHODS), default=['ehtdi', 'ehtdi_edge'])
    choice.add_argument(
        '--all',
        dest='methods',
        action='store_const',
        const=[name for name in METHODS if name not in BY_NAME_ONLY],
        help=f'every method but {" and ".join(BY_NAME_ONLY)}',
    )
    table.add_argument('--seeds', nargs='+', type=int, default=[0], help='training seeds')
    table.add_argument('--city', type=int, default=0, help='seed of the generated city')
    table.add_argument('--shift', choices=minicity.SHIFTS, default='medium', help='domain shift between the looks')
    table.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmark'))
    table.add_argument('--data-root', type=Path, default=Path('data'), help='where the cities are made')
    table.add_argument('--jobs', type=int, default=2, help='runs at a time, one thread each')
    table.add_argument('--sheet', action='store_true', help='draw predictions of the first seed')
    for kind, module, what in (
        ('step', 'step', 'one training step beside its bare network passes'),
        ('parts', 'parts', "the methods' parts beside their plain forms"),
        ('eval', 'evaluation', "from a network's output to scores, beside mmseg"),
        ('offline', 'offline', 'offline steps on one image beside their plain form'),
    ):
        table = kinds.add_parser(kind, help=what)
        table.set_defaults(module=module)
        table.add_argument('--rounds', type=int, default=5 if kind == 'step' else 9, help='measurements of each side')
        table.add_argument('--quick', action='store_true', help='tiny sizes, only to see it run')
        table.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmark'))
        if kind == 'step':
            table.add_argument('--method', choices=sorted(STEPS), default='ehtdi')
            table.add_argument('--scale', type=float, help="factor on the paper's image sides; 0.25, on a GPU 1")
    return parser.parse_args()


class Table:
    """The runs of one city and shift.

    Args:
        args: The command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        city = f'minicity_{args.city}_{args.shift}'
        self.data = args.data_root / ('minicity' if city == 'minicity_0_medium' else city)
        self.folder = args.work_dir / city
        os.environ['MMUDA_DATA'] = str(self.data)  # before a config is read
        self.rows: dict[str, Path] = {}  # row -> config
        self.start: dict[str, str] = {}  # row -> the source-only row of its network
        chosen = {row: text.partition('@') for key in args.methods for row, text in METHODS[key].items()}
        self.methods = {row: ROOT / 'configs' / config for row, (config, _, _) in chosen.items()}
        self.stage = {row: stage for row, (_, _, stage) in chosen.items() if stage}  # row -> stage that is scored
        for source in dict.fromkeys(stages(config)[0] for config in self.methods.values()):
            own = [(row, config) for row, config in self.methods.items() if stages(config)[0] == source]
            *baselines, oracle = baseline_rows(source)
            rows = dict([*baselines, *own, oracle])
            self.rows |= rows
            self.start |= dict.fromkeys(rows, baselines[0][0])
        self.width = max(map(len, self.rows))
        self.options = {'minicity.seed': args.city, 'minicity.shift': args.shift}

    def run_of(self, row: str) -> str:
        """The row whose run trains a row."""
        if row not in self.stage:
            return row
        return next(other for other in self.rows if self.rows[other] == self.rows[row] and other not in self.stage)

    def work_dir(self, row: str, seed: int) -> Path:
        """Folder of the run that trains a row."""
        row = self.run_of(row)
        return self.folder / f'seed{seed}' / re.sub(r'\W+', '_', row)

    def run(self, row: str, seed: int) -> None:
        """Train one row for one seed, unless that is done; its output goes to a log file."""
        folder = self.work_dir(row, seed)
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, ROOT / 'tools/train.py', self.rows[row], '--work-dir', folder, '--resume']
        command += ['--seed', str(seed), '--cfg-options', *(f'{key}={value}' for key, value in self.options.items())]
        began = time.time()
        with open(folder / 'output.log', 'w') as log:
            environment = os.environ | {'OMP_NUM_THREADS': '1'}
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                print(f'  {row:<{self.width}} seed {seed}: {_progress(folder / "output.log")}', flush=True)
        if process.returncode:
            tail = (folder / 'output.log').read_text().splitlines()[-1:]
            sys.exit(f'error: {row}, seed {seed} failed: {" ".join(tail)}\n  the whole output: {folder / "output.log"}')
        print(
            f'  {row:<{self.width}} seed {seed}: mIoU {self.score(row, seed):5.2f}   ({time.time() - began:.0f} s)',
            flush=True,
        )

    def stamp(self, row: str, seed: int) -> dict:
        """The stamp of a row's stage, the last one of a finished run if it names none."""
        folder = self.work_dir(row, seed)
        outputs = json.loads((folder / OUTPUTS).read_text())
        output = outputs[self.stage.get(row, list(outputs)[-1])]
        checkpoint = folder / output['last']  # perhaps of an equal run elsewhere
        return {**json.loads((checkpoint.parent / 'stamp.json').read_text()), 'checkpoint': checkpoint}

    def score(self, row: str, seed: int) -> float:
        """mIoU of the last validation, in percent."""
        return self.stamp(row, seed)['scores']['mIoU']

    def run_all(self) -> None:
        """Every run of every seed; it waits for what an earlier one of its seed trains for it."""
        # The long ones first; one that waits for two others last, so that no thread is idle before.
        runs = [row for row in self.rows if row not in self.stage]
        order = sorted(runs, key=lambda row: (len(self.needs(row)), row not in self.methods))
        with ThreadPoolExecutor(self.args.jobs) as pool:
            started: dict[tuple[str, int], Future] = {}
            for row in order:
                for seed in self.args.seeds:
                    before = [started[name, seed] for name in self.needs(row)]
                    started[row, seed] = pool.submit(self.run_after, before, row, seed)
            try:
                for future in started.values():
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def needs(self, row: str) -> list[str]:
        """Rows that train a stage this row starts with."""
        trained = stages(self.rows[row])
        others = (other for other in self.rows if other not in {row, *self.stage})
        return [other for other in others if self.rows[other] != self.rows[row] and self.rows[other] in trained]

    def run_after(self, before: list[Future], row: str, seed: int) -> None:
        """Run a row when the runs it needs have finished."""
        for future in before:
            future.result()
        self.run(row, seed)

    def __str__(self) -> str:
        """The table: mean and spread over the seeds; the gain, seed by seed, is over the same network's source-only."""
        seeds = self.args.seeds
        lines = [
            f'MiniCity, city {self.args.city}, shift {self.args.shift}, training seeds {" ".join(map(str, seeds))}: '
            'target mIoU (19 classes) of the last validation, in percent',
            f'{"":<{self.width}}{"mIoU":>8}{"+-":>7}{"gain":>8}{"+-":>7}{"minutes":>9}{"GB":>6}   per seed',
        ]
        for row in self.rows:
            scores = [self.score(row, seed) for seed in seeds]
            gains = [score - self.score(self.start[row], seed) for score, seed in zip(scores, seeds, strict=True)]
            stamps = [self.stamp(row, seed) for seed in seeds]
            minutes, memory = mean(stamp['seconds'] for stamp in stamps) / 60, max(s['memory'] for s in stamps)
            lines.append(
                f'{row:<{self.width}}{mean(scores):8.2f}{_spread(scores):>7}{mean(gains):+8.2f}{_spread(gains):>7}'
                f'{minutes:9.1f}{memory:6.1f}   ' + ' '.join(f'{score:.2f}' for score in scores)
            )
        lines.append('minutes: of the own stage, beside another run on the same machine; +-: standard deviation')
        lines.append('GB: the most memory that the process had when the stage ended')
        lines.append(f'all stages, each once: {sum(self.seconds().values()) / 3600:.2f} hours of one thread')
        return '\n'.join(lines)

    def seconds(self) -> dict[Path, float]:
        """How long each stage of all runs took; of what several runs share, one."""
        taken = {}
        for row in self.rows:
            for seed in self.args.seeds:
                folder = self.work_dir(row, seed)
                for output in json.loads((folder / OUTPUTS).read_text()).values():
                    place = folder / next(iter(output.values()))
                    place = (place if 'folder' in output else place.parent).resolve()
                    taken[place] = json.loads((place / 'stamp.json').read_text())['seconds']
        return taken

    def draw_sheet(self) -> Path:
        """Image, truth and every row's prediction for a few validation images."""
        predictors = {}
        for row, config in self.rows.items():
            stamp, cfg = self.stamp(row, self.args.seeds[0]), Config.fromfile(config)
            predictors[f'{row} {stamp["scores"]["mIoU"]:.1f}'] = Predictor(cfg, stamp['checkpoint'])
        file = self.folder / 'predictions.png'
        write_whole(file, encode(comparison(predictors, val_items(cfg, 5))))
        return file


@cache
def stages(config: Path) -> list[Path]:
    """The configs of a recipe's stages, in order."""
    return [(config.parent / stage.get('config', config.name)).resolve() for stage in Config.fromfile(config).recipe]


def baseline_rows(source: Path) -> list[tuple[str, Path]]:
    """Name and config of the rows of a network, whose source-only config is given and comes first; the oracle last."""
    common = source.stem.removesuffix('source')  # minicity_ or minicity_<network>_
    network = common.removeprefix('minicity_').removesuffix('_')
    return [(f'{network} {row}'.strip(), source.with_stem(common + end)) for row, end in BASELINES.items()]


def _progress(log: Path) -> str:
    """Where a run stands, from the last training line of its log."""
    found = re.findall(r'Iter\(train\) \[ *(\d+/\d+)\].*?eta: (\S+)', log.read_text())
    return 'iteration {}, {} left'.format(*found[-1]) if found else 'starting'


def _spread(values: list[float]) -> str:
    return f'{stdev(values):.2f}' if len(values) > 1 else '-'


def main() -> None:
    """Run it."""
    args = parse_args()
    quiet()
    if args.kind == 'minicity':
        with plain_errors():
            accuracy(args)
    else:
        if args.kind == 'step':
            args.config = STEPS[args.method]
        sys.path.insert(0, str(ROOT / 'tests'))  # home of the plain forms
        init_default_scope('mmuda')
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        importlib.import_module(f'speed.{args.module}').run(args)


def accuracy(args: argparse.Namespace) -> None:
    """Train what is missing and print the accuracy table."""
    table = Table(args)
    minicity.ensure({'root': str(table.data), 'seed': args.city, 'shift': args.shift})
    print(
        f'training {len(table.rows)} rows x {len(args.seeds)} seed(s), {args.jobs} at a time; logs in {table.folder}',
        flush=True,
    )
    began = time.time()
    table.run_all()
    print(f'\n{table}\nall runs: {time.time() - began:.0f} s')
    (table.folder / 'table.txt').write_text(f'{table}\n')
    if args.sheet:
        print(f'picture sheet: {table.draw_sheet()}')


if __name__ == '__main__':
    main()
