from django.apps import AppConfig


class DeepLearningModelsConfig(AppConfig):
    name = "apps.models"
    label = "dl_models"
    verbose_name = "Deep learning models"

    def ready(self) -> None:
        from apps.models import receivers

        receivers.connect()
