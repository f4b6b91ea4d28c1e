"""Silero's voice activity detector (MIT) at 16 kHz as a torch module, from the names and shapes of its weights.

The package has it as TorchScript, which is code, and as tensors for another library.
"""

from __future__ import annotations

import math

import torch

WINDOW, CONTEXT, RATE = 512, 64, 16_000


class Detector(torch.nn.Module):  # type: ignore[misc]
    """A spectrum, four convolutions and a cell of memory."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = torch.nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = torch.nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = torch.nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = torch.nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = torch.nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = torch.nn.LSTMCell(128, 128)
        self.final_conv = torch.nn.Conv1d(128, 1, 1)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        """The probability of speech in each window of a sound of shape (samples,)."""
        padded = torch.nn.functional.pad(sound, (CONTEXT, 0))
        state, found = None, []
        for start in range(CONTEXT, len(padded) - WINDOW + 1, WINDOW):
            x = torch.nn.functional.pad(padded[None, start - CONTEXT : start + WINDOW], (0, 64), "reflect")
            x = self.stft_conv(x.unsqueeze(1))
            x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
            for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
                x = layer(x).relu()
            state = self.lstm_cell(x.squeeze(-1), state)
            found.append(self.final_conv(state[0].unsqueeze(-1).relu()).sigmoid().squeeze())
        return torch.stack(found)


def vowels(seconds: float = 2.0) -> torch.Tensor:
    """A voice that says four vowels over and over: the harmonics of a swaying pitch through each one's formants."""
    time = torch.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 15 * torch.sin(2 * math.pi * 3 * time)
    phase = 2 * math.pi * torch.cumsum(pitch, 0) / RATE
    formants = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
    spoken = (time * 4).long() % 4
    sound = torch.zeros(len(time))
    for harmonic in range(1, 40):
        loud = torch.zeros(len(time))
        for number, peaks in enumerate(formants):
            through = sum(
                1 / (1 + ((pitch * harmonic - peak) / width) ** 2)
                for peak, width in zip(peaks, (80, 100, 120), strict=True)
            )
            loud = torch.where(spoken == number, through, loud)
        sound += loud * torch.sin(phase * harmonic) / harmonic**0.5
    sound *= 0.5 + 0.5 * torch.sin(2 * math.pi * 4 * time).clamp(-0.6)
    return 0.5 * sound / sound.abs().max()
