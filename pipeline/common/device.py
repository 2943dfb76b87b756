"""What a process computes on. The one place that asks whether there is a GPU, and whether it can be used."""

import ctypes
import warnings

import torch

from pipeline.common.errors import UserError

# CUDA's major version -> the first driver that runs it (NVIDIA, "CUDA Compatibility").
_DRIVERS = {"12": 525, "13": 580}
_CPU_INSTEAD = "or set CUDA_VISIBLE_DEVICES= (to nothing) to compute on the CPU"


def num_gpus() -> int:
    """GPUs that this process may use; 0 on a machine without.

    Raises:
        UserError: there are some, and their driver is too old for this PyTorch: nobody wants to train on the CPU then.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: what follows says it in our words
        usable, found = torch.cuda.is_available(), torch.cuda.device_count()  # of the driver; of NVML, which is there
    if found and not usable:
        raise _unusable(found)
    return found


def _unusable(found: int) -> UserError:
    version, cards = torch.version.cuda or "?", f"this machine has {found} NVIDIA GPU{'s' * (found > 1)}"
    major = version.split(".")[0]
    if major.isdigit() and _driver_cuda() >= 1000 * int(major):
        return UserError(
            f"{cards}, which CUDA cannot use, though the driver is new enough for this PyTorch (CUDA {version})",
            f"see what nvidia-smi says, and whether this process may open /dev/nvidia*, {_CPU_INSTEAD}",
        )
    needed = _DRIVERS.get(major)
    return UserError(
        f"{cards}, whose driver is too old for this PyTorch (CUDA {version})",
        f"install NVIDIA's driver {needed or 'for it'} or newer (nvidia-smi shows yours), {_CPU_INSTEAD}",
    )


def _driver_cuda() -> int:
    """The newest CUDA that the driver runs, 13020 for 13.2; 0 where it does not say."""
    version = ctypes.c_int(0)
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return version.value


def choose_device(local: int = 0) -> torch.device:
    """The GPU number `local` of this process's, or the CPU on a machine without.

    Raises:
        UserError: the driver is too old, there is no such GPU, or this PyTorch has no code for it.
    """
    found = num_gpus()
    if not found:
        return torch.device("cpu")
    if local >= found:
        raise UserError(f"train.processes: process {local + 1} on this machine has no GPU of its own")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        major, minor = torch.cuda.get_device_capability(local)
        name = torch.cuda.get_device_name(local)
    built = torch.cuda.get_arch_list()
    if not any(_runs_on(architecture, major, minor) for architecture in built):
        known = ", ".join(architecture for architecture in built if architecture.startswith("sm_"))
        raise UserError(
            f"GPU {local}, {name} (sm_{major}{minor}), is none that this PyTorch was built for ({known})",
            f"choose another by CUDA_VISIBLE_DEVICES, {_CPU_INSTEAD}",
        )
    return torch.device("cuda", local)


def out_of_memory(error: BaseException, advice: str) -> UserError:
    """What to tell a user when torch finds no memory on a GPU; torch's own account is half a page.

    Args:
        error: torch.OutOfMemoryError.
        advice: what to do.
    """
    return UserError("; ".join(str(error).splitlines()[0].rstrip(".").split(". ")[:3]), advice)


def has_bf16(device: torch.device) -> bool:
    """Whether a GPU computes in bf16 and tf32, and does not imitate them: from Ampere on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8


def _runs_on(architecture: str, major: int, minor: int) -> bool:
    """Whether code for an architecture (sm_86, compute_120) runs on a card of a compute capability."""
    kind, _, number = architecture.rstrip("af").partition("_")
    built = divmod(int(number), 10)
    if kind == "compute":  # translated by the driver for every later card
        return built <= (major, minor)
    return built[0] == major and built[1] <= minor
