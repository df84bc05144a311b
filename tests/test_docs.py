"""The pages: their commands run, their code is code, what they link to and name is there.

Commands are taken from the pages as they stand. Of every one the tool's own parser and its configs decide whether it is
sound; ``train.py`` makes a dry run, launchers launch nothing. Those that need no file of the reader's own also run, on
a small city and without a change of their text: the configs that they read become small. That is data enough for
papers' commands, too.
"""

import argparse
import configparser
import copy
import functools
import importlib.util
import io
import itertools
import logging
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from helpers import ROOT, SMALL_CITY, make_short, make_small
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from mmuda import minicity
from mmuda.engine.recipe import Recipe

PAGES = [
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md')),
    *(page for pattern in ('docs/*.md', 'configs/*/README.md') for page in sorted(ROOT.glob(pattern))),
]
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```$', re.M | re.S)
SPAN = re.compile(r'(?<!`)`([^`\n]+)`(?!`)')
TREE = re.compile(r'[\w.]+/$', re.M)  # how a list of folders begins

# ------------------------------------------------------------------------------------------------ what pages hold


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    return BLOCK.findall(page.read_text())


def spans() -> list[tuple[str, str]]:
    """Page and text of everything set as code within sentences."""
    pages = {page: BLOCK.sub('', page.read_text()) for page in PAGES}
    return [(page.relative_to(ROOT).as_posix(), text) for page, prose in pages.items() for text in SPAN.findall(prose)]


def collect() -> dict[str, str]:
    """Every command of a fenced block, and the first page that has it."""
    found: dict[str, str] = {}
    for page in PAGES:
        for language, text in blocks(page):
            if language in ('', 'sh', 'bash') and not is_tree(text):
                for line in text.replace('\\\n', ' ').splitlines():
                    if words := shlex.split(line, comments=True):
                        found.setdefault(shlex.join(words), page.relative_to(ROOT).as_posix())
    return found


def is_tree(text: str) -> bool:
    """Whether a block lists folders."""
    return bool(TREE.match(text))


def environment(command: str) -> tuple[dict[str, str], list[str]]:
    """The variables that a command sets for itself, and its words."""
    words = shlex.split(command)
    before = list(itertools.takewhile(lambda word: re.match(r'[A-Z_]+=', word), words))
    return dict(word.split('=', 1) for word in before), words[len(before) :]


COMMANDS = collect()


def runs(command: str) -> bool:
    """Whether it runs here, on MiniCity."""
    if not command.startswith('python tools/') or 'your_data' in command:
        return False
    counted = 'check_dataset.py' in command and 'minicity' not in command  # it would miss images of the real set
    return not counted and not any(of_the_reader(word.rpartition('=')[2]) for word in command.split())


def of_the_reader(word: str) -> bool:
    """Whether a word stands for a file of the reader's: capitals, or a checkpoint that somebody published."""
    return bool(re.fullmatch(r'[A-Z][A-Z0-9_]*|[A-Z]\w+\.pth|gta5_source\.pth', word)) and word != 'DATA'


def short(command: str) -> str:
    """Its name as a test."""
    return command[:80]


def is_long(command: str) -> bool:
    """Whether it trains, or needs what a training left."""
    return 'work_dirs/' in command or command.split()[1] in ('tools/train.py', 'tools/benchmark.py')


# ------------------------------------------------------------------------------------------------ a checkout to work in


@pytest.fixture(scope='module')
def checkout(city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to work in, with the small city for data, some images, and the files that the pages' code blocks are."""
    root = tmp_path_factory.mktemp('checkout')
    for name in ('configs', 'tools', 'mmuda', 'requirements', '.ci'):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns('__pycache__'))
    for path in (
        ROOT / 'Makefile',
        ROOT / 'setup.cfg',
        ROOT / 'pyproject.toml',
        *ROOT.glob('tests/*.py'),
        *ROOT.glob('tests/configs/*'),
    ):
        target = root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for page in PAGES:
        for _, text in blocks(page):
            if name := re.match(r'# ([\w/-]+\.py)\n', text):
                file = root / name[1]
                assert not file.exists(), f'{page}: a code block would replace {name[1]}'
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    (root / 'data').mkdir()
    (root / 'data/minicity').symlink_to(city)
    for folder in city.iterdir():
        (root / 'data' / folder.name).symlink_to(folder)
    (root / 'DATA').symlink_to(city)
    image = Image.open(next(city.glob('cityscapes/leftImg8bit/val/*/*.png')))
    (root / 'photos').mkdir()
    for name in ('photo.jpg', 'photos/1.png', 'photos/2.png'):
        image.save(root / name)
    slurm = root / 'bin/srun'
    slurm.parent.mkdir()
    slurm.write_text('#!/bin/sh\necho srun "$@"\n')
    slurm.chmod(0o755)
    return root


@functools.cache
def tool_at(file: Path) -> dict[str, Any]:
    """A tool's functions."""
    return runpy.run_path(str(file))


@pytest.fixture
def call(checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Any]:
    """Calls a function of a tool, ``main`` by default, in this process, as its command line would."""
    level = MMLogger.get_current_instance().level
    monkeypatch.setattr(logging, 'raiseExceptions', False)  # a handler may hold the captured stream of an earlier test
    monkeypatch.chdir(checkout)
    monkeypatch.setenv('MMUDA_DATA', 'data')  # tools set it; put back afterwards
    monkeypatch.delenv('MMUDA_DATA')

    def run(tool: str, *words: str, function: str = 'main') -> Any:
        monkeypatch.setattr(sys, 'argv', [tool, *words])
        try:
            return tool_at(checkout / tool)[function]()
        except SystemExit as end:
            if end.code:
                said = end.code if isinstance(end.code, str) else capsys.readouterr().err[-600:]
                raise AssertionError(said) from None

    yield run
    MMLogger.get_current_instance().setLevel(level)


# ------------------------------------------------------------------------------------------------ commands, dry


@contextmanager
def made_up(words: list[str]) -> Iterator[None]:
    """Put a file, or a stage's folder, where a command has a name in capitals or a checkpoint of the reader's own."""
    made = []
    for word in words:
        path = Path(word.rpartition('=')[2])
        if path.name in ('FOLDER', 'LABELS'):
            path /= 'manifest.json'
            path.parent.mkdir(exist_ok=True)
        elif not of_the_reader(str(path)) and not re.fullmatch(r'[\w-]+\.pth', str(path)):
            continue
        if not path.exists():
            path.touch()
            made.append(path)
    yield
    for path in made:
        path.unlink()


def dry_python(words: list[str], call: Callable) -> None:
    """Parse by the tool itself; load what it names."""
    if words[0] == '-m':
        assert importlib.util.find_spec(words[1])
        assert words[1] != 'pytest' or all(Path(word).exists() for word in words[2:] if not word.startswith('-'))
        return
    tool, *words = words
    with made_up(words):
        dry_tools(tool, words, call)


def dry_tools(tool: str, words: list[str], call: Callable) -> None:
    """CONFIG may stand for a recipe in rounds, or one that starts with an adaptation."""
    if 'CONFIG' not in words:
        dry_tool(tool, words, call)
        return
    errors = []
    for name in ('tests/configs/rounds.py', 'configs/depth_distribution/minicity_stage1_uda.py'):
        try:
            dry_tool(tool, [name if word == 'CONFIG' else word for word in words], call)
            return
        except AssertionError as error:
            errors.append(str(error))
    raise AssertionError('\n'.join(errors))


def dry_tool(tool: str, words: list[str], call: Callable) -> None:
    """Parse; a training makes its dry run, for other tools their configs are loaded with their options."""
    args = call(tool, *words, function='parse_args')
    if tool == 'tools/train.py':
        try:
            call(tool, *(word for word in words if word not in ('--dry-run', '--estimate')), '--dry-run')
        except AssertionError as error:
            if not re.match('error: --from-stage .* which is not done', str(error)):
                raise
        return
    for word in words:
        for name in re.findall(r'(?:^|[=:])((?:tests/)?configs/[^:]+\.py)', word):
            Recipe.load(name, 'work_dirs', options=getattr(args, 'cfg_options', {}))


def dry_bash(words: list[str], call: Callable, variables: dict[str, str]) -> None:
    """Run a launcher with nothing to launch, and look at the command that it would start."""
    script, *arguments = words
    text = Path(script).read_text() + Path('tools/torchrun.sh').read_text()
    assert all(re.search(rf'\b{name}\b', text) for name in variables), variables
    if not script.startswith('tools/'):
        subprocess.run(['bash', '-n', script], check=True)
        return
    variables = {**os.environ, **variables, 'PYTHON': 'echo', 'PATH': f'{Path("bin").resolve()}:{os.environ["PATH"]}'}
    done = subprocess.run(['bash', script, *arguments], env=variables, capture_output=True, text=True, check=True)
    started = done.stdout.split()
    tool = next(index for index, word in enumerate(started) if word.startswith('tools/'))
    launcher = started.index('--launcher')
    dry_python(started[tool:launcher] + started[launcher + 2 :], call)


def dry_make(words: list[str], call: Callable) -> None:
    """Let make say what it would do; its tools are looked at as if they stood there."""
    done = subprocess.run(['make', '-n', *words], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    for command in re.findall(r'^\S+/python (tools/.*)', done.stdout, re.M):
        dry_python(shlex.split(command), call)


def dry_pip(words: list[str]) -> None:
    """The extras that are asked for exist."""
    assert words[0] == 'install'
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    for word in words:
        if extra := re.fullmatch(r'(?:\.|mmuda)\[(\w+)\]', word):
            assert extra[1] in setup['options.extras_require']
        if '==' in word:
            assert word in Path('requirements/tested.txt').read_text().splitlines()


def dry_export(words: list[str]) -> None:
    """A variable that the tools read."""
    (word,) = words
    sources = [file.read_text() for folder in ('tools', 'mmuda') for file in (ROOT / folder).rglob('*.py')]
    assert any(f"'{word.partition('=')[0]}'" in source for source in sources)


def dry_source(words: list[str]) -> None:
    """The environment that ``make install`` makes."""
    assert words == ['.venv/bin/activate']
    assert 'VENV ?= .venv' in Path('Makefile').read_text().splitlines()


@functools.cache
def read_once(file: str, _data: str | None, read: Callable = Config.fromfile) -> Config:
    """A config as it is with these data."""
    return read(file)


@pytest.mark.parametrize('command', COMMANDS, ids=short)
def test_command_is_sound(command: str, call: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fromfile(file: str | Path) -> Config:
        return copy.deepcopy(read_once(str(file), os.environ.get('MMUDA_DATA')))

    monkeypatch.setattr(Config, 'fromfile', fromfile)
    variables, [program, *words] = environment(command)
    if program == 'python':
        assert not variables
        dry_python(words, call)
    elif program == 'bash':
        dry_bash(words, call, variables)
    elif program == 'make':
        dry_make(words, call)
    else:
        kinds = {'pip': dry_pip, 'export': dry_export, 'source': dry_source}
        program = program.removeprefix('.venv/bin/')
        assert program in kinds, f'{COMMANDS[command]}: no test knows how to check `{command}`'
        kinds[program](words)


def test_every_page_says_what_its_blocks_are() -> None:
    languages = {language for page in PAGES for language, _ in blocks(page)}
    assert languages <= {'', 'sh', 'bash', 'python', 'text'}
    assert len(COMMANDS) > 50


# ------------------------------------------------------------------------------------------------ commands, run


@pytest.fixture
def small(city: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every config that is read has the tiny network and the small city, every stage two iterations."""
    read, load = Config.fromfile, Recipe.load.__func__
    generator = importlib.import_module('mmuda.minicity.generate')
    generate = generator.generate
    sizes = {key: value for key, value in SMALL_CITY.items() if key not in ('seed', 'shift')}

    def fromfile(*args: Any, **kwargs: Any) -> Config:
        cfg = read(*args, **kwargs)
        if 'model' in cfg:
            make_small(cfg)
        return cfg

    def load_short(*args: Any, **kwargs: Any) -> Recipe:
        recipe = load(Recipe, *args, **kwargs)
        make_short(recipe)
        return recipe

    def small_city(root: Path, **settings: Any) -> dict:
        return generate(root, **{**settings, **sizes, 'workers': 1})

    monkeypatch.setattr(Config, 'fromfile', fromfile)
    monkeypatch.setattr(Recipe, 'load', load_short)
    for home in (generator, minicity):
        monkeypatch.setattr(home, 'generate', small_city)
    SegLocalVisualizer._instance_dict.clear()  # runners of one name and second, here of two tests, share theirs


def fewer(tool: str, words: list[str]) -> list[str]:
    """What a command gets besides, so that it is short."""
    if tool != 'tools/benchmark.py':
        return []
    apart = ['--work-dir', 'benchmark']  # or runs elsewhere would take its stages for theirs
    return apart + (['--seeds', '0', '--jobs', '1'] if 'minicity' in words else ['--quick', '--rounds', '1'])


class InThisProcess:
    """Stands in for the processes that the benchmark starts, so that they read small configs, too."""

    def __init__(self, call: Callable, command: list, **_: Any) -> None:
        _, tool, *words = map(str, command)
        try:
            call(Path(tool).relative_to(Path.cwd()).as_posix(), *words)
            self.returncode = 0
        except AssertionError:
            self.returncode = 1

    def poll(self) -> int:
        """It has ended."""
        return self.returncode


@pytest.mark.usefixtures('small')
@pytest.mark.parametrize(
    'command',
    [
        pytest.param(command, marks=[pytest.mark.slow] if is_long(command) else [])
        for command in COMMANDS
        if runs(command)
    ],
    ids=short,
)
def test_command_runs(command: str, call: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    if command.split()[1] == 'tools/export.py':
        pytest.importorskip('onnxruntime')
    run_command(command, call, monkeypatch)


def run_command(command: str, call: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """After what has to be there: the runs that it names, and what commands further up on its page write."""
    _, tool, *words = shlex.split(command)
    for run in sorted(set(re.findall(r'work_dirs/(\w+/[\w-]+)', command))):
        if not Path('work_dirs', run, 'outputs.json').exists() and Path('configs', f'{run}.py').exists():
            call('tools/train.py', f'configs/{run}.py')
    for other in itertools.takewhile(lambda other: other != command, COMMANDS):
        needed = [path for path in outputs(other) if re.search(rf'(^|[ =]){re.escape(str(path))}($|[ /])', command)]
        if COMMANDS[other] == COMMANDS[command] and runs(other) and not all(path.exists() for path in needed):
            run_command(other, call, monkeypatch)
    if tool == 'tools/benchmark.py':
        started = SimpleNamespace(Popen=functools.partial(InThisProcess, call), STDOUT=subprocess.STDOUT)
        monkeypatch.setitem(tool_at(Path(tool).resolve())['main'].__globals__, 'subprocess', started)
        monkeypatch.syspath_prepend(Path('tools').resolve())
    call(tool, *words, *fewer(tool, words))
    assert all(path.exists() for path in outputs(command))


def outputs(command: str) -> list[Path]:
    """What a command says it will write."""
    words = command.split()
    named = [word for before, word in itertools.pairwise(words) if before in ('--out', '--show-dir', '--work-dir')]
    last = words[-1:] if 'tools/convert_checkpoint.py' in words or 'tools/export.py' in words else []
    return [Path(word) for word in named + last]


@pytest.mark.slow
@pytest.mark.parametrize('command', [command for command in COMMANDS if command.startswith('python -m pytest')])
def test_tests_of_the_pages_pass(command: str, checkout: Path) -> None:
    done = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=checkout, capture_output=True, text=True)
    assert not done.returncode, done.stdout[-3000:]
    assert re.search(r'[1-9]\d* passed', done.stdout)


# ------------------------------------------------------------------------------------------------ within sentences


def parser_of(tool: str, call: Callable) -> argparse.ArgumentParser:
    """The parser of a tool, taken when it is about to parse."""
    with pytest.MonkeyPatch.context() as patch:
        for way in ('parse_args', 'parse_intermixed_args'):
            patch.setattr(argparse.ArgumentParser, way, lambda parser: sys.exit(found.append(parser)))
        found: list[argparse.ArgumentParser] = []
        call(tool, function='parse_args')
    return found[0]


def test_tools_and_options_within_sentences_exist(call: Callable) -> None:
    found = set()
    for page, text in spans():
        match = re.match(r'(?:python |bash )?(tools/\w+\.(?:py|sh))(.*)', text)
        if not match:
            continue
        tool, words = match[1], match[2].split()
        assert (ROOT / tool).is_file(), f'{page}: {text}'
        if tool.endswith('.sh'):
            continue
        parser = parser_of(tool, call)
        steps = next((a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)), {})
        if steps and words:
            assert words[0] in steps, f'{page}: {text}'
            parser = steps[words[0]]
        unknown = [word for word in words if word.startswith('--') and word not in parser._option_string_actions]
        assert not unknown, f'{page}: {text}'
        found.add(tool)
    assert len(found) > 5


def test_options_within_sentences_exist(call: Callable) -> None:
    """Of some tool, where they stand alone; of pip; and one of a reference code's."""
    known = {'--no-deps', '--help', '--normalize'}
    for tool in ROOT.glob('tools/*.py'):
        parser = parser_of(tool.relative_to(ROOT).as_posix(), call)
        steps = [a.choices.values() for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        for one in (parser, *itertools.chain(*steps)):
            known |= set(one._option_string_actions)
    named = {(page, word) for page, text in spans() for word in text.split() if word.startswith('--')}
    assert named
    assert not [(page, word) for page, word in named if word.rstrip(',') not in known]


def expanded(path: str) -> list[str]:
    """``a{,_b}.py`` is ``a.py`` and ``a_b.py``."""
    if not (inner := re.search(r'\{([^{}]*)\}', path)):
        return [path]
    return [
        whole
        for choice in inner[1].split(',')
        for whole in expanded(path[: inner.start()] + choice + path[inner.end() :])
    ]


def test_files_within_sentences_exist() -> None:
    named = [
        (page, path)
        for page, text in spans()
        for word in text.split()
        if re.match(r'(?:configs|docs|mmuda|tools|tests|requirements)/[\w.{]', word)
        for path in expanded(word.rstrip(','))
        if '<' not in path
    ]
    assert len(named) > 50
    assert not [(page, path) for page, path in named if not list(ROOT.glob(path))]
    there = {file.name for folder in ('configs', 'mmuda', 'tests', 'tools') for file in (ROOT / folder).rglob('*.*')}
    files = [(page, text) for page, text in spans() if re.fullmatch(r'[\w-]+\.(?:py|sh)', text)]
    written = {
        name.rpartition('/')[2] for page in PAGES for name in re.findall(r'^# ([\w/-]+\.py)$', page.read_text(), re.M)
    }
    assert not [(page, name) for page, name in files if name not in there | written]


# ------------------------------------------------------------------------------------------------ links, blocks, lists


def anchors(page: Path) -> set[str]:
    """The names by which GitHub links to a page's headings."""
    heads = re.findall(r'^#+ (.*)$', BLOCK.sub('', page.read_text()), re.M)
    return {re.sub(r'[^\w\- ]', '', head.lower()).strip().replace(' ', '-') for head in heads}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    for link in re.findall(r'\]\((?!https?:)([^)\s]+)\)', BLOCK.sub('', page.read_text())):
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_links_to_every_page() -> None:
    index = ROOT / 'docs/README.md'
    links = re.findall(r'\]\(([^)\s#]+\.md)', index.read_text())
    assert {page.resolve() for page in PAGES} <= {index, *((index.parent / link).resolve() for link in links)}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_blocks_are_code_and_trees_are_trees(page: Path) -> None:
    assert not re.findall(r'^[A-Z]{4,}$', page.read_text(), re.M)  # a placeholder of a template
    for language, text in blocks(page):
        if language == 'python':
            compile(text, page.name, 'exec')
        elif is_tree(text):
            above = ''
            for line in io.StringIO(text):
                name = line.split()[0].partition('{')[0]
                assert (ROOT / (above if line.startswith(' ') else '') / name).exists(), line
                above = above if line.startswith(' ') else name


def test_papers_and_models_of_the_index() -> None:
    """Every method's folder is there with every config that is no mere stage; a number has the command that made it."""
    pages = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    folders = {path.parent.name for path in ROOT.glob('configs/[a-z]*/README.md')}
    assert {Path(page).as_posix() for page in pages} == {f'configs/{folder}/metafile.yml' for folder in folders}
    no_method = r'_stage\d|minicity(_edge)?_adabn|_(source|continued|oracle)$'
    for page in pages:
        content = yaml.safe_load((ROOT / page).read_text())
        papers = {paper['Name']: paper for paper in content['Collections']}
        for paper in papers.values():
            assert (ROOT / paper['README']).parent == (ROOT / page).parent
            assert (ROOT / paper['Code']['URL']).is_file()
            assert paper['Paper']['Title']
        for model in content['Models']:
            assert model['In Collection'] in papers
            assert all({'Task', 'Dataset', 'Metrics', 'Command'} <= result.keys() for result in model['Results'])
        listed = {model['Config'] for model in content['Models']}
        configs = {path.relative_to(ROOT).as_posix(): path.stem for path in (ROOT / page).parent.glob('*.py')}
        assert listed <= set(configs)
        assert {config for config, name in configs.items() if not re.search(no_method, name)} <= listed
        assert len({model['Name'] for model in content['Models']}) == len(content['Models'])
