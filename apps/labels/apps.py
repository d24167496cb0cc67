from django.apps import AppConfig


class LabelsConfig(AppConfig):
    name = "apps.labels"
    label = "labels"

    def ready(self) -> None:
        from apps.labels.receivers import make_label_sets, take_over_class_names
        from apps.objects.signals import objects_imported
        from apps.projects.signals import project_created

        project_created.connect(make_label_sets, dispatch_uid="make_label_sets")
        objects_imported.connect(take_over_class_names, dispatch_uid="take_over_class_names")
