"""Every CUDA source compiles to machine code, on machines without a GPU too."""

import inspect
import re
import shutil

import numpy as np
import pytest

from benchmarks import bench, cases
from kernels import backend
from tests.conftest import run_on

SOURCES = sorted(p.stem for p in backend.HERE.glob("*.cu"))


def compiled(nvrtc, source, arch):
    """Compile a CUDA source with the options that CuPy and the project use."""
    _, program = nvrtc.nvrtcCreateProgram(
        backend.cuda_source(source).encode(), f"{source}.cu".encode(), 0, [], []
    )
    options = [f"--gpu-architecture={arch}", *backend.CUDA_OPTIONS]
    options += ["-ftz=true", "--device-as-default-execution-space"]  # CuPy adds these
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = _room(size)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert result == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    return program


def _room(size):
    """Return bytes that NVRTC may write into: never one byte alone, which Python shares."""
    return b" " * (size + 1)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_kernel_compiles_and_rounds_every_operation_by_itself(source, arch):
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    program = compiled(nvrtc, source, arch)
    assert nvrtc.nvrtcGetCUBINSize(program)[1] > 0
    _, size = nvrtc.nvrtcGetPTXSize(program)
    assert size > 1
    text = _room(size)
    nvrtc.nvrtcGetPTX(program, text)
    found = set(re.findall(r"\b(?:fma|mad)\.[\w.]*f(?:32|64)|[\w.]+\.ftz\.[\w.]+", text.decode()))
    # CuPy's -ftz flushes subnormal float32. Propensities and weights, on their grids, are none; a
    # margin below 1e-38 may become 0, which is within any reach that it was.
    # The screen of single actions computes in float32; nothing there that matters is subnormal.
    screen = {
        f"{op}.ftz.f32" for op in ("add.rn", "sub.rn", "mul.rn", "neg", "setp.gt", "setp.leu")
    }
    allowed = {"cvt.ftz.f64.f32", "cvt.rn.ftz.f32.f64"} | (screen if source == "single" else set())
    assert found <= allowed


@pytest.mark.parametrize("name", sorted(backend.TWINS))
def test_twins_have_one_signature(name):
    cpu, gpu = backend.TWINS[name]
    assert inspect.signature(cpu) == inspect.signature(gpu)
    assert cpu.__doc__ and "Args:" in cpu.__doc__ and "Returns:" in cpu.__doc__


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (5, 1), (3, 4), (65_535, 256)], ids=str)
@pytest.mark.parametrize("operation", cases.OPERATIONS, ids=lambda o: o.label)
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_every_row_is_done_once_on_any_grid(operation, grid, monkeypatch):
    operands = operation.operands(cases.Size("grid", 301, 9))
    found = run_on("host", operation.name, monkeypatch, *operation.own(operands), grid=grid)
    expected = backend.TWINS[operation.name][0](*operation.own(operands))
    for one, other in zip(bench.outputs(found), bench.outputs(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=operation.rounding, atol=operation.rounding)
