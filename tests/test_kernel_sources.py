"""Every CUDA source compiles to machine code, on machines without a GPU too."""

import inspect

import pytest

from kernels import backend

SOURCES = sorted(p.stem for p in backend.HERE.glob("*.cu"))


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("source", SOURCES)
def test_kernel_compiles(source, arch):
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    _, program = nvrtc.nvrtcCreateProgram(
        backend.cuda_source(source).encode(), f"{source}.cu".encode(), 0, [], []
    )
    options = [f"--gpu-architecture={arch}", *backend.CUDA_OPTIONS]
    options += ["-ftz=true", "--device-as-default-execution-space"]  # CuPy adds these
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = b" " * size
    nvrtc.nvrtcGetProgramLog(program, log)
    assert result == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    assert nvrtc.nvrtcGetCUBINSize(program)[1] > 0


@pytest.mark.parametrize("name", sorted(backend.TWINS))
def test_twins_have_one_signature(name):
    cpu, gpu = backend.TWINS[name]
    assert inspect.signature(cpu) == inspect.signature(gpu)
    assert cpu.__doc__ and "Args:" in cpu.__doc__ and "Returns:" in cpu.__doc__
